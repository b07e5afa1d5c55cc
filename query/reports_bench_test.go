package query

import "testing"

// reportCalls are the reports as people ask for them.
var reportCalls = map[string][]string{
	"largest/files":       {"reports/largest"},
	"largest/directories": {"reports/largest", "type", "directory"},
	"usage/owner":         {"reports/usage"},
	"usage/extension":     {"reports/usage", "by", "extension"},
	"histogram/size":      {"reports/histogram"},
	"histogram/mtime":     {"reports/histogram", "of", "mtime"},
	"empty":               {"reports/empty-directories"},
	"duplicates/1M":       {"reports/duplicates"},
	"duplicates/all":      {"reports/duplicates", "min_size", "1"},
	"growth":              {"reports/growth", "depth", "3"},
}

// BenchmarkReports asks each report of the benchmarks' view, of -rows rows, whole; nothing of the layers is cached.
func BenchmarkReports(b *testing.B) {
	f, _, _ := benchView(b)
	for name, call := range reportCalls {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ask(b, benchServer(b, f, f.st, 64<<20), viewURL(call[0], call[1:]...), "")
			}
			b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}
