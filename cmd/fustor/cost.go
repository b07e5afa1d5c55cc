package main

import "context"

type costCmd struct{}

// Help implements kong.HelpProvider.
func (costCmd) Help() string { return "Examples:\n\n    fustor cost" }

func (c *costCmd) Run(context.Context, *app) error { return nil }
