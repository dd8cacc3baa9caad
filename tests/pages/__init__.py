"""What the console draws, without a cluster: pages, options, links, sessions, sign-in."""
