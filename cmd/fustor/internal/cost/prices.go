// Package cost reads the prices of `fustor cost`, and holds the model of internal/cost to what the parts do.
package cost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"

	model "github.com/fustor/fustor/internal/cost"
)

// ReadPrices puts the prices of a YAML file, in the field names of --json, over p; the file's source is to be said.
func ReadPrices(p model.Prices, name string, body []byte) (model.Prices, error) {
	p.Source, p.Date = name, ""
	err := yaml.NewDecoder(bytes.NewReader(body), yaml.Strict()).Decode(&p)
	if err != nil && !errors.Is(err, io.EOF) {
		return p, fmt.Errorf("%s: %s", name, strings.Join(strings.Fields(yaml.FormatError(err, false, false)), " "))
	}
	for _, price := range []float64{p.Get, p.Put, p.List, p.StorageGBMonth, p.LambdaInvocation, p.LambdaGBSecond, p.QueueRequest, p.QueuePollsPerMonth, p.TransferGB, p.InstanceHour} {
		if !(price >= 0) {
			return p, fmt.Errorf("%s: a price is negative", name)
		}
	}
	if !(p.InstanceGB > 0) {
		return p, fmt.Errorf("%s: instance_gb must be above 0", name)
	}
	return p, nil
}
