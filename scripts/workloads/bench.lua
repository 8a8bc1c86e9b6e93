-- nbody, spectral norm, binary trees, sieve and string work; the argument scales the work.
local scale = tonumber(arg[1]) or 1

local function nbody(steps)
  local bodies = {
    {x = 0, y = 0, z = 0, vx = 0, vy = 0, vz = 0, m = 39.47},
    {x = 4.84, y = -1.16, z = -0.10, vx = 0.60, vy = 2.81, vz = -0.02, m = 0.037},
    {x = 8.34, y = 4.12, z = -0.4, vx = -1.01, vy = 1.82, vz = 0.008, m = 0.011},
    {x = 12.89, y = -15.11, z = -0.22, vx = 1.08, vy = 0.86, vz = -0.01, m = 0.0017},
  }
  for _ = 1, steps do
    for i = 1, #bodies do
      local a = bodies[i]
      for j = i + 1, #bodies do
        local b = bodies[j]
        local dx, dy, dz = a.x - b.x, a.y - b.y, a.z - b.z
        local d2 = dx * dx + dy * dy + dz * dz
        local mag = 0.001 / (d2 * math.sqrt(d2))
        a.vx, a.vy, a.vz = a.vx - dx * b.m * mag, a.vy - dy * b.m * mag, a.vz - dz * b.m * mag
        b.vx, b.vy, b.vz = b.vx + dx * a.m * mag, b.vy + dy * a.m * mag, b.vz + dz * a.m * mag
      end
    end
    for _, b in ipairs(bodies) do
      b.x, b.y, b.z = b.x + 0.001 * b.vx, b.y + 0.001 * b.vy, b.z + 0.001 * b.vz
    end
  end
  return string.format("%.9f %.9f", bodies[1].x, bodies[2].y)
end

local function spectral_norm(n)
  local function a(i, j) return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1) end
  local function times(v, transposed)
    local out = {}
    for i = 0, n - 1 do
      local sum = 0
      for j = 0, n - 1 do sum = sum + (transposed and a(j, i) or a(i, j)) * v[j + 1] end
      out[i + 1] = sum
    end
    return out
  end
  local u = {}
  for i = 1, n do u[i] = 1 end
  local v
  for _ = 1, 3 do
    v = times(times(u, false), true)
    u = times(times(v, false), true)
  end
  local vbv, vv = 0, 0
  for i = 1, n do vbv, vv = vbv + u[i] * v[i], vv + v[i] * v[i] end
  return string.format("%.9f", math.sqrt(vbv / vv))
end

local function tree(depth)
  if depth == 0 then return {} end
  return {tree(depth - 1), tree(depth - 1)}
end
local function check(t) return t[1] and 1 + check(t[1]) + check(t[2]) or 1 end

local function sieve(n)
  local composite, count = {}, 0
  for i = 2, n do
    if not composite[i] then
      count = count + 1
      for j = i * i, n, i do composite[j] = true end
    end
  end
  return count
end

local function strings(n)
  local words, counts = {}, {}
  for i = 1, n do words[i] = "w" .. (i * 7919 % 997) end
  local text = table.concat(words, " ")
  for word in text:gmatch("%a%d+") do counts[word] = (counts[word] or 0) + 1 end
  local keys = {}
  for k in pairs(counts) do keys[#keys + 1] = k end
  table.sort(keys, function(x, y) return counts[x] > counts[y] or counts[x] == counts[y] and x < y end)
  local replaced = text:gsub("w(%d)", "<%1>"):upper():reverse()
  return keys[1] .. " " .. #replaced
end

local function closures(n)
  local sum = 0
  local object = setmetatable({}, {__index = function(_, k) return k * 2 end, __call = function(_, x) return x + 1 end})
  for i = 1, n do
    local f = function(x) return object[x] + object(i) end
    sum = sum + (pcall(f, i) and f(i) or 0) % 1000
  end
  return sum
end

for round = 1, scale do
  print(round, nbody(14000), spectral_norm(60), check(tree(13)), sieve(90000), strings(24000), closures(40000))
end
