"""The Distributed Aggregation Protocol: messages, HPKE, reports, collection."""
