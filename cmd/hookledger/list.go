package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// pageSize is the API's largest page.
const pageSize = 250

// listing holds the flags that every list takes.
type listing struct {
	limit  int
	all    bool
	order  string
	cursor string
	after  string
	before string
}

func (l *listing) flags(flags *pflag.FlagSet) {
	flags.IntVar(&l.limit, "limit", 50, "how many to list")
	flags.BoolVar(&l.all, "all", false, "list all, however many there are")
	flags.StringVar(&l.order, "order", "", "desc: newest first; asc: oldest first (default: desc, or asc for names)")
	flags.StringVar(&l.cursor, "cursor", "", "go on where an earlier list ended")
	flags.StringVar(&l.after, "created-after", "", "only later ones: a time (RFC 3339), or how long ago, such as 2h")
	flags.StringVar(&l.before, "created-before", "", "only earlier ones, likewise")
}

func (l *listing) query() (url.Values, error) {
	if l.limit < 1 {
		return nil, usage("--limit must be at least 1", "use --all for everything")
	}
	q := url.Values{"limit": {strconv.Itoa(min(l.limit, pageSize))}}
	set(q, "order", l.order)
	if l.all {
		q.Set("limit", strconv.Itoa(pageSize))
	}
	set(q, "cursor", l.cursor)
	for name, v := range map[string]string{"created_after": l.after, "created_before": l.before} {
		if v == "" {
			continue
		}
		t, err := moment(flagNamed(name), v)
		if err != nil {
			return nil, err
		}
		q.Set(name, t.Format(time.RFC3339Nano))
	}
	return q, nil
}

// flagNamed is the flag of a field that is called as it is.
func flagNamed(field string) string { return "--" + strings.ReplaceAll(field, "_", "-") }

// set adds a parameter that has a value.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// moment reads a time, or how long ago it was.
func moment(flag, s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usage(fmt.Sprintf("%s: %q is no time", flag, s),
			"write it like 2026-02-01T15:04:05Z, or like 2h for two hours ago")
	}
	return t, nil
}

// listAll prints a list, page after page, until it has as many as were asked for.
func listAll[T any](cmd *cobra.Command, a *app, c *apiclient.Client, path string, query url.Values, l *listing,
	columns []output.Column[T]) error {
	q, err := l.query()
	if err != nil {
		return err
	}
	for name, v := range query {
		q[name] = v
	}
	out := output.NewList(a.printer, columns)
	next, page := "", apiclient.Page[T]{}
	var total *apiclient.Total
	for page, err = range apiclient.All[T](cmd.Context(), c, path, q) {
		if err != nil {
			return err
		}
		if page.Total != nil && total == nil {
			total = page.Total
		}
		for _, item := range page.Data {
			if !l.all && out.Len() == l.limit {
				// The page holds more than was asked for; its rows can't be cut by a cursor.
				next = "there are more: raise --limit, or --all"
				break
			}
			if err := out.Add(item.Raw, item.Value); err != nil {
				return err
			}
		}
		if !l.all && out.Len() >= l.limit {
			if next == "" && page.HasMore {
				next = "there are more: --cursor " + page.NextCursor + ", or --all"
			}
			break
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	if out.Len() == 0 && a.printer.Format == output.Table && next == "" {
		a.note("nothing found")
	}
	switch {
	case total == nil:
	case total.AtLeast:
		a.note("more than %d in all", total.Count)
	default:
		a.note("%d in all", total.Count)
	}
	if next != "" {
		a.note("%s", next)
	}
	return nil
}

// getOne prints one resource.
func getOne[T any](cmd *cobra.Command, a *app, c *apiclient.Client, path string, columns []output.Column[T]) error {
	item, err := apiclient.Fetch[T](cmd.Context(), c, path)
	if err != nil {
		return err
	}
	return output.One(a.printer, columns, item.Raw, item.Value)
}

// column is short for one that needs nothing special.
func column[T any](name string, value func(T) string) output.Column[T] {
	return output.Column[T]{Name: name, Value: value}
}

// detail is a column that a list's table has no room for.
func detail[T any](name string, value func(T) string) output.Column[T] {
	return output.Column[T]{Name: name, Value: value, Detail: true}
}

func status[T any](name string, value func(T) string) output.Column[T] {
	return output.Column[T]{Name: name, Value: value, Status: true}
}
