"""What of codecs' own syntax is read: parameter sets and frame headers, for receiver and recorder alike (pure)."""
