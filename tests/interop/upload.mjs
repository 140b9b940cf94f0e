// Uploads measurements with the npm package @divviup/dap; prints each report as it was sent, in hex.
// node --input-type=module - '{"task": {...}, "measurements": [...]}' < upload.mjs
import { Task } from "@divviup/dap";

const { task: spec, measurements } = JSON.parse(process.argv[2]);
const task = new Task(spec);
const sent = [];
task.fetch = async (url, options) => {
  if (options?.body) sent.push(Buffer.from(options.body).toString("hex"));
  return await fetch(url, options);
};
for (const measurement of measurements) await task.sendMeasurement(measurement);
console.log(JSON.stringify(sent));
