// Package dnstest is a name server on the loopback for tests of what a tenant's names lead to: it answers each question
// about a name as it was told, one answer after the other, so that a name can lead to a public address first and to an
// internal one when it is looked up again.
//
// It knows nothing of hookledger, is never part of the binary, and never asks another name server.
package dnstest
