package jwt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/user"
)

// claims are all claims of a verified token.
type claims map[string]any

// text is a claim that must be a string.
func (c claims) text(name string) (string, error) {
	value, there := c[name]
	if !there {
		return "", fmt.Errorf("claim %q not present", name)
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("claim %q is no string", name)
	}
	return text, nil
}

// identify maps claims to a user, and holds both against the rules.
func (i *issuer) identify(ctx context.Context, c claims) (user.Info, error) {
	value := asMapper(c)
	info := &user.DefaultInfo{}
	var err error
	if info.Name, err = i.username(ctx, c, value); err != nil {
		return nil, err
	}
	if info.Groups, err = i.groups(ctx, c, value); err != nil {
		return nil, err
	}
	if info.UID, err = i.uid(ctx, c, value); err != nil {
		return nil, err
	}
	if info.Extra, err = i.extra(ctx, value); err != nil {
		return nil, err
	}
	if err := i.checkClaims(ctx, c, value); err != nil {
		return nil, err
	}
	return info, i.checkUser(ctx, info)
}

func asMapper(m map[string]any) traits.Mapper {
	return types.DefaultTypeAdapter.NativeToValue(m).(traits.Mapper)
}

func (i *issuer) username(ctx context.Context, c claims, value traits.Mapper) (string, error) {
	mapping := i.config.ClaimMappings.Username
	if i.mapper.Username != nil {
		name, err := evaluate(ctx, i.mapper.Username, value)
		if err == nil && name == "" {
			err = errors.New("empty username via CEL expression is not allowed")
		}
		return name, err
	}
	name, err := c.text(mapping.Claim)
	if err != nil {
		return "", fmt.Errorf("parse username claims: %w", err)
	}
	if verified, there := c["email_verified"]; mapping.Claim == "email" && there && verified != true {
		return "", errors.New("email not verified")
	}
	return prefixed(mapping, name), nil
}

func prefixed(m apiserver.PrefixedClaimOrExpression, text string) string {
	if m.Prefix == nil {
		return text
	}
	return *m.Prefix + text
}

// evaluate is the string that an expression makes of the claims.
func evaluate(ctx context.Context, mapper cel.ClaimsMapper, value traits.Mapper) (string, error) {
	result, err := mapper.EvalClaimMapping(ctx, value)
	if err != nil {
		return "", err
	}
	text, ok := result.EvalResult.Value().(string)
	if !ok {
		return "", fmt.Errorf("expression %q must return a string", result.ExpressionAccessor.GetExpression())
	}
	return text, nil
}

func (i *issuer) groups(ctx context.Context, c claims, value traits.Mapper) ([]string, error) {
	mapping := i.config.ClaimMappings.Groups
	if i.mapper.Groups != nil {
		result, err := i.mapper.Groups.EvalClaimMapping(ctx, value)
		if err != nil {
			return nil, err
		}
		return texts(result.EvalResult)
	}
	given, there := c[mapping.Claim]
	if elsewhere, _ := c["_claim_names"].(map[string]any); !there && elsewhere[mapping.Claim] != nil {
		return nil, fmt.Errorf("the claim %q is a distributed one (OpenID Connect Core, section 5.6.2), which is not supported", mapping.Claim)
	}
	if mapping.Claim == "" || !there {
		return nil, nil
	}
	found, err := texts(types.DefaultTypeAdapter.NativeToValue(given))
	if err != nil {
		return nil, fmt.Errorf("parse groups claim %q: %w", mapping.Claim, err)
	}
	for n, group := range found {
		found[n] = prefixed(mapping, group)
	}
	return found, nil
}

// texts makes strings of a string, a list of strings, or nothing.
func texts(value ref.Val) ([]string, error) {
	switch v := value.(type) {
	case types.Null:
		return nil, nil
	case types.String:
		if v == "" {
			return nil, nil
		}
		return []string{string(v)}, nil
	case traits.Lister:
		var out []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			text, ok := it.Next().Value().(string)
			if !ok {
				return nil, errors.New("the list holds something else than strings")
			}
			if text != "" {
				out = append(out, text)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a string or a list of strings is needed, not %s", value.Type().TypeName())
}

func (i *issuer) uid(ctx context.Context, c claims, value traits.Mapper) (string, error) {
	if i.mapper.UID != nil {
		return evaluate(ctx, i.mapper.UID, value)
	}
	if i.config.ClaimMappings.UID.Claim == "" {
		return "", nil
	}
	uid, err := c.text(i.config.ClaimMappings.UID.Claim)
	if err != nil {
		return "", fmt.Errorf("parse uid claim: %w", err)
	}
	return uid, nil
}

func (i *issuer) extra(ctx context.Context, value traits.Mapper) (map[string][]string, error) {
	if i.mapper.Extra == nil {
		return nil, nil
	}
	results, err := i.mapper.Extra.EvalClaimMappings(ctx, value)
	if err != nil {
		return nil, err
	}
	extra := map[string][]string{}
	for _, result := range results {
		mapping, ok := result.ExpressionAccessor.(*cel.ExtraMappingExpression)
		if !ok {
			return nil, fmt.Errorf("unexpected expression %T", result.ExpressionAccessor)
		}
		values, err := texts(result.EvalResult)
		if err != nil {
			return nil, fmt.Errorf("extra %q: %w", mapping.Key, err)
		}
		if len(values) > 0 {
			extra[mapping.Key] = values
		}
	}
	return extra, nil
}

func (i *issuer) checkClaims(ctx context.Context, c claims, value traits.Mapper) error {
	for _, rule := range i.config.ClaimValidationRules {
		if rule.Claim == "" {
			continue
		}
		got, err := c.text(rule.Claim)
		if err != nil {
			return fmt.Errorf("required claim: %w", err)
		}
		if got != rule.RequiredValue {
			return fmt.Errorf("required claim %s value does not match. Got = %s, want = %s", rule.Claim, got, rule.RequiredValue)
		}
	}
	if i.mapper.ClaimValidationRules == nil {
		return nil
	}
	results, err := i.mapper.ClaimValidationRules.EvalClaimMappings(ctx, value)
	if err != nil {
		return err
	}
	return allTrue(results)
}

func (i *issuer) checkUser(ctx context.Context, info *user.DefaultInfo) error {
	if i.mapper.UserValidationRules == nil {
		return nil
	}
	results, err := i.mapper.UserValidationRules.EvalUser(ctx, asMapper(map[string]any{
		"username": info.Name, "uid": info.UID, "groups": slices.Clone(info.Groups), "extra": info.Extra,
	}))
	if err != nil {
		return err
	}
	return allTrue(results)
}

// allTrue wants every rule to hold.
func allTrue(results []cel.EvaluationResult) error {
	for _, result := range results {
		if result.EvalResult == types.True {
			continue
		}
		message := ""
		switch rule := result.ExpressionAccessor.(type) {
		case *cel.ClaimValidationCondition:
			message = rule.Message
		case *cel.UserValidationCondition:
			message = rule.Message
		}
		if message == "" {
			message = "it must be true"
		}
		return fmt.Errorf("validation expression '%s' failed: %s", result.ExpressionAccessor.GetExpression(), message)
	}
	return nil
}
