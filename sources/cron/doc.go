// Package cron reads what a cron system posts to a raw URL and makes a cron.completed of it. The body of such a post is
// documented nowhere, so it is taken as it comes: JSON is read by JSON Pointers, which are configuration with defaults
// that suit the usual names, and any other text is the job's output.
//
// A run that says its id is that run, for ever. One that does not is known by the digest of its body and the time: the
// same body again within a window is the same run.
//
// A job that failed is a cron.completed with the status "error". The package must never make a cron.failed: that is a
// delivery to a channel that failed after all retries, and a post says nothing about those. It must never read a clock
// or do any I/O.
package cron
