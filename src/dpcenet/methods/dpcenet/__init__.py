"""DPCENet, the network of the paper."""
