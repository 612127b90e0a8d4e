"""Training, from images to the last checkpoint: inputs, loss, optimisers, jitted steps, loop."""
