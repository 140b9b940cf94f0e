"""Work on stored reports: aggregation jobs, collections and the worker threads."""
