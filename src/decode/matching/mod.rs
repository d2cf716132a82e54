//! From messages to exchanges: which request does this response answer, and how long did it take?
