"""What `trainer report` puts on its page: measured, drawn and encoded here."""
