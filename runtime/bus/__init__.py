"""The station's side of ZeroMQ: sockets, messages, control, and a client."""
