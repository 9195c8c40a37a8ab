"""The arguments of each command and how it runs; what it does is in the module beside."""
