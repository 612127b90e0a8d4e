"""Many runs as members of one compiled program: their states, groups, stages and images."""
