// Command web bundles the scripts of the pages: query/page/app becomes app.js and plot.css in query/page/web, which are checked in, so that building
// Fustor needs Go alone. It is a module of its own, as nothing else needs esbuild. Run it as `make web`; TestBundle compares.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// licences of what is in the bundle; esbuild keeps comments with an exclamation mark.
const licences = `/*! With preact (MIT, © 2015-present Jason Miller), d3-hierarchy (ISC, © 2010-2026 Mike Bostock), uPlot (MIT, © Leon Sorokin). */`

func main() {
	out := flag.String("o", "", "the directory for app.js and plot.css (default: query/page/web)")
	root := flag.String("root", filepath.Join("..", ".."), "the root of the repository")
	flag.Parse()
	if *out == "" {
		*out = filepath.Join(*root, "query", "page", "web")
	}
	if err := bundle(*root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func bundle(root, out string) error {
	app, err := filepath.Abs(filepath.Join(root, "query", "page", "app"))
	if err != nil {
		return err
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: app, EntryPoints: []string{"main.tsx"}, Bundle: true, Format: api.FormatESModule, Target: api.ES2022, Charset: api.CharsetUTF8,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelWarning,
		JSXFactory: "h", JSXFragment: "Fragment", Banner: map[string]string{"js": licences}, TsconfigRaw: "{}",
		Alias: map[string]string{"preact": "./vendor/preact/preact.mjs", "preact/hooks": "./vendor/preact/hooks.mjs",
			"d3-hierarchy": "./vendor/d3-hierarchy/d3-hierarchy.mjs", "uplot": "./vendor/uplot/uPlot.esm.js"},
	})
	if len(result.Errors) > 0 || len(result.OutputFiles) != 1 {
		return fmt.Errorf("esbuild: %d errors, %d files", len(result.Errors), len(result.OutputFiles))
	}
	if err := os.WriteFile(filepath.Join(out, "app.js"), result.OutputFiles[0].Contents, 0o644); err != nil {
		return err
	}
	plot, err := os.ReadFile(filepath.Join(app, "vendor", "uplot", "uPlot.min.css"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "plot.css"), plot, 0o644)
}
