package main

import (
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

func keyColumns() []output.Column[apiclient.Key] {
	return []output.Column[apiclient.Key]{
		column("id", func(k apiclient.Key) string { return k.ID }),
		column("name", func(k apiclient.Key) string { return k.Name }),
		column("tenant", func(k apiclient.Key) string { return k.Tenant }),
		column("role", func(k apiclient.Key) string { return k.Role }),
		column("prefix", func(k apiclient.Key) string { return k.Prefix }),
		status("status", func(k apiclient.Key) string { return k.Status }),
		column("created_at", func(k apiclient.Key) string { return output.Time(k.CreatedAt) }),
		column("expires_at", func(k apiclient.Key) string { return output.TimeOf(k.ExpiresAt) }),
		detail("revoked_at", func(k apiclient.Key) string { return output.TimeOf(k.RevokedAt) }),
		detail("key", func(k apiclient.Key) string { return k.Key }),
	}
}

func newKey(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("key", "Say who may use the API, and as what",
		newKeyList(a, r), newKeyCreate(a, r), newKeyRevoke(a, r)), r)
}

func newKeyList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "list", Short: "List the tenant's API keys, revoked ones too",
		Long: `List the tenant's API keys, revoked ones too. The server's admin key is one of the platform, for all tenants:
those are listed with --tenant '*'.`,
		Example: "  hookledger key list\n  hookledger key list --tenant '*'",
		Args:    args(), RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/api-keys", nil, l, keyColumns())
		}}
	l.flags(c.Flags())
	return c
}

func newKeyCreate(a *app, r *remote) *cobra.Command {
	var name, role, expires string
	var roles []string
	for _, r := range domain.Roles() {
		roles = append(roles, string(r))
	}
	c := &cobra.Command{Use: "create", Short: "Make an API key; it is shown once",
		Example: "  hookledger key create --role producer --name \"the cron server\" --expires 2160h", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{"role": role}
			if name != "" {
				body["name"] = name
			}
			if expires != "" {
				t, err := later("--expires", expires)
				if err != nil {
					return err
				}
				body["expires_at"] = t.Format(time.RFC3339Nano)
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Key]
			if err := c.Post(cmd.Context(), "/v1/api-keys", body, &out); err != nil {
				return err
			}
			if err := output.One(a.printer, keyColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			if out.Value.Key != "" {
				a.note("keep the key: it is not shown again. Use it with HOOKLEDGER_API_KEY or HOOKLEDGER_API_KEY_FILE")
			}
			return nil
		}}
	c.Flags().StringVar(&name, "name", "", "to recognise it by")
	c.Flags().StringVar(&role, "role", "", "what it may do: "+strings.Join(roles, ", "))
	c.Flags().StringVar(&expires, "expires", "",
		"when it ends: a time (RFC 3339), or how long from now, such as 720h (default never)")
	required(c, "role")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func newKeyRevoke(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "End an API key, for good",
		Example: "  hookledger key revoke key_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Key]
			if err := c.Delete(cmd.Context(), "/v1/api-keys/"+url.PathEscape(args[0]), &out); err != nil {
				return err
			}
			a.note("%s is revoked", args[0])
			if out.Raw == nil {
				return nil
			}
			return output.One(a.printer, keyColumns(), out.Raw, out.Value)
		}}
}

// required marks flags that a command can't do without.
func required(c *cobra.Command, names ...string) {
	for _, n := range names {
		if err := c.MarkFlagRequired(n); err != nil {
			panic(err) // no such flag: a broken build
		}
	}
}
