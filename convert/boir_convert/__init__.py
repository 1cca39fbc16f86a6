"""From a trained checkpoint to a bundle that `boir_sdk` runs."""
