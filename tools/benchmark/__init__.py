"""What `tools/bench` measures: a module for each kind of table, and what they share."""
