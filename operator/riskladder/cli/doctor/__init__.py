"""``riskladder doctor``: whether Riskladder can be installed, is installed as it should be, and can be removed."""
