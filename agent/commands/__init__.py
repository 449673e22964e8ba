"""The commands of the command line, one file each; `agent.cli` puts them together."""
