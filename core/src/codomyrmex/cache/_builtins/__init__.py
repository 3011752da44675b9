"""The plugins that come with the core, one module each, found through entry points like everybody else's."""
