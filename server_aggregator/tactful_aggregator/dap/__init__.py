"""The messages of the Distributed Aggregation Protocol that only aggregators use."""
