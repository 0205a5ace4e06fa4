// Package hookledger is the root of the module. It holds no code: the binary is cmd/hookledger, and the rooms stand in
// the folders beside this file (docs/architecture.md shows them and which may import which).
//
// What lies here are the tests that look at the repository as a whole: the layers, the package comments, the sizes of
// files, and that the documents say what the code does. It must never grow anything that another package imports.
package hookledger
