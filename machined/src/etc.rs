//! The generated /etc: few files, written at every start, nothing read from them by machined itself.
