// Package layer writes and reads layers: immutable, sorted Parquet files of a view's rows, each with a small index.
//
// It owns the format (docs/formats-layer.md), the merge of base partitions and deltas into one view, and the cache of
// decoded row groups. Invariants: rows of a layer have strictly increasing keys; a row group is written once and from
// then on only copied, byte for byte; what is read was checked against the index, and the index against the manifest,
// so that a damaged or foreign object is a FormatError and never a wrong row. The compactor writes layers, the query
// handler reads them; every engine that reads Parquet may too.
package layer
