// Package iceberg makes a view an Apache Iceberg table (format version 2), so that SQL engines read its state without Fustor and
// without a copy: the view's layers are the table's data files as they are, and position-delete files name the rows that do not
// count, which are tombstones and rows that a newer layer supersedes.
//
// Invariants: a snapshot is a version of the view and has its number, both as snapshot id and as sequence number; what it refers to
// is there for as long as it is in the newest metadata (retention asks Expire first). The table changes by one conditional write, that
// of the next v<N>.metadata.json; version-hint.text follows. Publishing again is incremental: what is known of a layer, and of two
// layers, is known for ever. The compactor publishes, query's catalog reads. docs/formats-iceberg.md has the objects.
package iceberg

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/fustor/fustor/internal/layer"
)

// ErrNone: the view is not published as a table.
var ErrNone = errors.New("not published as a table")

// Root is where engines find a store's objects, given the store's URL: file:///dir or s3://bucket/prefix, without a slash at the end.
func Root(storeURL string) (string, error) {
	u, err := url.Parse(storeURL)
	if err != nil {
		return "", fmt.Errorf("store URL: %w", err)
	}
	path := strings.TrimRight(u.Path, "/")
	switch u.Scheme {
	case "file":
		return "file://" + path, nil
	case "s3":
		return "s3://" + u.Host + path, nil
	case "minio":
		return "s3:/" + path, nil // its first part is the bucket
	}
	return "", fmt.Errorf("store %s: engines have no name for it", storeURL)
}

// EngineConfig is what engines have to know to reach a store, given its URL, but for credentials: those they have themselves.
func EngineConfig(storeURL string) map[string]string {
	config := map[string]string{}
	u, err := url.Parse(storeURL)
	if err != nil {
		return config
	}
	q := u.Query()
	switch {
	case u.Scheme == "minio":
		scheme := "https://"
		if q.Get("tls") == "false" {
			scheme = "http://"
		}
		config["s3.endpoint"], config["s3.path-style-access"] = scheme+u.Host, "true"
		config["s3.region"], config["client.region"] = "us-east-1", "us-east-1"
	case u.Scheme == "s3":
		if endpoint := q.Get("endpoint"); endpoint != "" {
			config["s3.endpoint"], config["s3.path-style-access"] = endpoint, "true"
			if q.Get("path_style") == "false" {
				config["s3.path-style-access"] = "false"
			}
		}
		if region := q.Get("region"); region != "" {
			config["s3.region"], config["client.region"] = region, region
		}
	}
	return config
}

// locationOf is the place of the table with a prefix in a store.
func locationOf(root, table string) string { return root + "/" + strings.TrimSuffix(table, "/") }

// hidden are columns that mean something to Fustor alone; removed is false in every row of the table.
var hidden = map[layer.Column]bool{
	layer.ColumnRemoved: true, layer.ColumnWatermarkNs: true, layer.ColumnEndedAtNs: true, layer.ColumnHistory: true,
	layer.ColumnSubClosed: true,
}

// fields are the table's columns.
func fields() (out []layer.Field) {
	for i, f := range layer.Fields() {
		if !hidden[layer.Column(i)] {
			out = append(out, f)
		}
	}
	return out
}
