// Package golang tests the clients that oapi-codegen makes of the served
// documents. Its tests need these, so they are built with the tag "generated".
package golang
