//! OAuth, REST, Tooling and SOAP Metadata API.
