package main

import (
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

// printExchange writes request and response the way HTTP does.
func printExchange(w io.Writer, paint output.Paint, t *apiclient.Attempt) {
	if t.Request != nil {
		fmt.Fprintf(w, "\n%s\n", paint.Bold("request"))
		fmt.Fprintf(w, "%s %s\n", t.Request.Method, output.Clean(t.Request.URL))
		for _, h := range t.Request.Headers {
			fmt.Fprintf(w, "%s %s\n", paint.Dim(output.Clean(h.Name)+":"), output.Clean(h.Value))
		}
		if t.Request.Kind == domain.EndpointEmail {
			printMail(w, paint, t.Request.Body)
		} else {
			fmt.Fprintf(w, "\n%s\n", output.Clean(t.Request.Body))
		}
	}
	if t.Response != nil {
		fmt.Fprintf(w, "\n%s\n", paint.Bold("response"))
		fmt.Fprintf(w, "%d\n", t.Response.Status)
		for _, h := range t.Response.Headers {
			fmt.Fprintf(w, "%s %s\n", paint.Dim(output.Clean(h.Name)+":"), output.Clean(h.Value))
		}
		if t.Response.Body != "" {
			fmt.Fprintf(w, "\n%s\n", output.Clean(t.Response.Body))
		}
		if t.Response.Truncated {
			fmt.Fprintln(w, paint.Dim("(truncated)"))
		}
	}
}

// printMail writes a mail as its reader sees it, line by line; -o json has it byte for byte. All of it is set in, so
// that what a sender chose is not taken for a part of what stands around it.
func printMail(w io.Writer, paint output.Paint, mail string) {
	head, body, _ := strings.Cut(mail, "\r\n\r\n")
	quoted := false
	fmt.Fprintln(w)
	for line := range strings.SplitSeq(unfolded.Replace(head), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		if readable, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
			value = readable
		}
		quoted = quoted || strings.EqualFold(name, "Content-Transfer-Encoding") &&
			strings.EqualFold(value, "quoted-printable")
		fmt.Fprintf(w, "  %s %s\n", paint.Dim(output.Clean(name)+":"), output.Clean(value))
	}
	if quoted {
		if plain, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body))); err == nil {
			body = string(plain)
		}
	}
	fmt.Fprintln(w)
	for line := range strings.Lines(strings.ReplaceAll(body, "\r\n", "\n")) {
		fmt.Fprintln(w, strings.TrimRight("  "+output.Clean(strings.TrimSuffix(line, "\n")), " "))
	}
}

// unfolded makes one line of a header that was broken (RFC 5322, section 2.2.3).
var unfolded = strings.NewReplacer("\r\n ", " ", "\r\n\t", " ")
