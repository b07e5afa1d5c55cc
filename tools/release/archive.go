package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// archive packs files below a directory of the archive's name: a zip for Windows, otherwise a tar.gz.
func (r *release) archive(name, system string, files []file) error {
	if system == "linux" {
		units, err := r.units("/usr/local/bin")
		if err != nil {
			return err
		}
		for _, u := range units {
			files = append(files, file{"systemd/" + u.path, u.body, u.mode})
		}
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	var packed bytes.Buffer
	if system == "windows" {
		name += ".zip"
		if err := r.zip(&packed, strings.TrimSuffix(name, ".zip"), files); err != nil {
			return err
		}
	} else {
		name += ".tar.gz"
		if err := r.tar(&packed, strings.TrimSuffix(name, ".tar.gz"), files); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(r.out, name), packed.Bytes(), 0o644)
}

func (r *release) tar(w io.Writer, top string, files []file) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		header := &tar.Header{Name: top + "/" + f.path, Mode: int64(f.mode), Size: int64(len(f.body)), ModTime: r.date, Uname: "root", Gname: "root"}
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		if _, err := t.Write(f.body); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

func (r *release) zip(w io.Writer, top string, files []file) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, f := range files {
		header := &zip.FileHeader{Name: top + "/" + f.path, Method: zip.Deflate, Modified: r.date}
		header.SetMode(f.mode)
		to, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := to.Write(f.body); err != nil {
			return err
		}
	}
	return z.Close()
}

// gzipped is a man page or changelog as packages have it.
func gzipped(body []byte) ([]byte, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
