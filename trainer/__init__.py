"""What runs on the workstation: takes in, bundles out."""
