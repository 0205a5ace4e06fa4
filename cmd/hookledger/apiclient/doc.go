// Package apiclient is the commands' client of the HTTP API: it signs requests in with an API key, names the tenant,
// turns problem details into errors that name the fix, follows cursors, and reads the stream of records.
//
// It keeps what the server answered as it was, beside the fields that the commands print, so that nothing is lost on
// the way to `-o json`. It must never print anything, put a key into an error, send a key to a host that a redirect
// named, or repeat a request that may have been carried out.
package apiclient
