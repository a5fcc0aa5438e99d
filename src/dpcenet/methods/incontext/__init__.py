"""The network of this project: trained once on made-up images, it segments what a support shows."""
