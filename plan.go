package main

import (
	"context"
	"errors"
)

type planCmd struct{}

func (planCmd) Run(context.Context) error { return errors.New("not in this build") }
