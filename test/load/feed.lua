-- wrk -t1 -c64 -d600 -s feed.lua URL -- FILE METHOD PATH SIGN
-- Sends each line of FILE once, as the body of a POST or as the payment of a GET, and says "fed" when the last
-- answer is here; whoever runs it then ends it. An answer that is not 200, or whose body has no SIGN in it,
-- counts as bad.
local lines, at, dry, method, path, sign = {}, 0, true, nil, nil, nil
answered, bad, first_bad = 0, 0, ""

function init(args)
  method, path, sign = args[2], args[3], args[4]
  for line in io.lines(args[1]) do lines[#lines + 1] = line end
end

local function make(line)
  if method == "POST" then
    return wrk.format("POST", path, {["Content-Type"] = "application/json"}, line)
  end
  return wrk.format("GET", path, {["PAYMENT-SIGNATURE"] = line})
end

function request()
  if dry then -- wrk asks once before it begins
    dry = false
    return make(lines[1])
  end
  at = at + 1
  if at > #lines then return "" end
  return make(lines[at])
end

function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 or not body:find(sign, 1, true) then
    bad = bad + 1
    if bad == 1 then first_bad = status .. " " .. body end
  end
  if answered == #lines then
    io.stdout:write("fed ", answered, " bad ", bad, " ", first_bad:gsub("\n", " "), "\n")
    io.stdout:flush()
  end
end

function done(summary, latency)
  io.stdout:write(string.format("latency p50 %d p99 %d\n", latency:percentile(50), latency:percentile(99)))
end
