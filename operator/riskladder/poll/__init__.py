"""`riskladder poll`: asks Prometheus, and what answers as it does, and reports what it says."""
