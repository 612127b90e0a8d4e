"""The fifteen datasets of CoOp's benchmark, in the folders and with the splits that CoOp uses."""
