package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// components writes what the programs of an archive are made of, read from the programs themselves: NAME.cdx.json.
func (r *release) components(name string, programs []file) error {
	versions := map[string]string{} // of modules, by path
	digest := sha256.New()
	for _, p := range programs {
		digest.Write(p.body)
		info, err := buildinfo.Read(bytes.NewReader(p.body))
		if err != nil {
			return err
		}
		versions["std"] = strings.TrimPrefix(info.GoVersion, "go")
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			versions[m.Path] = m.Version
		}
	}
	var list []cyclonedx.Component
	for path, version := range versions {
		reference := "pkg:golang/" + path + "@" + version
		list = append(list, cyclonedx.Component{BOMRef: reference, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: reference})
	}
	slices.SortFunc(list, func(a, b cyclonedx.Component) int { return strings.Compare(a.Name, b.Name) })
	bom := cyclonedx.NewBOM()
	id := digest.Sum(nil)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8: ours
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
	bom.Metadata = &cyclonedx.Metadata{Timestamp: r.date.Format(time.RFC3339), Component: &cyclonedx.Component{BOMRef: name, Type: cyclonedx.ComponentTypeApplication, Name: "fustor",
		Version: r.version, PackageURL: "pkg:golang/github.com/fustor/fustor@" + r.version, Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}}}}
	bom.Components = &list
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name+".cdx.json"), out.Bytes(), 0o644)
}
