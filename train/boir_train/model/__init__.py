"""The networks: the paper's (`boir`) and the small one of this project (`nano`)."""
