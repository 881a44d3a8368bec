"""Many boxes at once: what Ansible's playbooks call, and what calls them."""
