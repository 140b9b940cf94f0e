"""Work on stored reports: aggregation jobs, collections, and the threads that run them."""
