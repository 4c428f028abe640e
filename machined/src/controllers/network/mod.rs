//! Links, addresses, routes, resolvers.
