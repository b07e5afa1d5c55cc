package httpapi

import (
	"compress/gzip"
	"mime"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// minCompressed is the size in bytes from which an answer is compressed: less fits into one packet anyway.
const minCompressed = 1024

// Compress lets h answer compressed, by zstd or gzip, to clients that accept it. It stands around a Frame, so that the log counts bytes as
// they were written. ETags must be weak, since an answer has the same one in every encoding.
func Compress(h http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(minCompressed), gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.ContentTypeFilter(func(kind string) bool {
		media, _, err := mime.ParseMediaType(kind)
		if err != nil {
			return false
		}
		switch media {
		case "application/json", "application/problem+json", "application/x-ndjson", "text/html", "text/css", "text/javascript":
			return true
		}
		return false
	}))
	if err != nil {
		panic(err) // the options are valid
	}
	compressed := wrap(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead { // there is nothing to compress, and the length is that of the plain answer
			h.ServeHTTP(w, r)
			return
		}
		compressed.ServeHTTP(w, r)
	})
}
