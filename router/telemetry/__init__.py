"""What the router tells about itself; never a word of its inputs."""
