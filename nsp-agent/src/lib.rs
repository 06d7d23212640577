//! The agent of NSP as a library, so that its tests reach every part.
