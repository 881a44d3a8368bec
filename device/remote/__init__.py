"""What a key for deployment may do: the box's end of the workstation's commands."""
