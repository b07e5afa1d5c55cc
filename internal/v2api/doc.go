// Package v2api is what Fustor V2's Python agents, SDKs and clients put on the wire, as Go types: the bodies of their calls, and
// what each value means in ours (docs/v2.md).
//
// It is pure: bytes in, values out. Fields that it does not know are skipped, since every V2 build sends others; a field that it
// knows and that has another type, or a value that nothing can mean, is a *FieldError or an error of encoding/json that names
// the field. The handlers in ingest and query/v2 and the test client in testkit/v2agent share it.
package v2api
