"""What a process runs on: devices, other processes, signals, compiled programs, the terminal."""
